def run(text, exec=None):
    exec(text)


def really(text):
    exec(compile(text, "x", "exec"))
