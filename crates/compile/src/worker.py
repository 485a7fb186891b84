"""A worker of bytefacts: sources in on stdin, marshalled code or structured errors out on stdout, until stdin ends.

It compiles and never executes. `protocol.rs` is the other side of every format here. Arguments: optimize, dont_inherit,
CPU seconds a unit, bytes of address space, bytes of C stack, largest marshalled code, CPU seconds a judgement, the source
of the module that judges (`oracle.py`), and what audits vary: version of marshal, umask or -1, modules to import first.
"""

import _signal
import _thread
import fcntl
import marshal
import os
import resource
import sys
import time
import warnings
from importlib.util import MAGIC_NUMBER

OPTIMIZE, DONT_INHERIT = int(sys.argv[1]), bool(int(sys.argv[2]))
CPU_SECONDS, MEMORY, STACK, LARGEST_CODE = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
JUDGE_CPU_SECONDS, ORACLE = float(sys.argv[7]), sys.argv[8]
MARSHAL_VERSION, UMASK, IMPORTS = int(sys.argv[9]), int(sys.argv[10]), sys.argv[11]

FILENAME = "<bytefacts>"  # logical, so that no path of a machine gets into code or messages
MOST_WARNINGS = 10_000
LONGEST_TEXT = 4096
PIPE_BUFFER = 256 << 10
MEASURE_EVERY = 20_000_000  # nanoseconds of CPU after which the resident memory may have changed enough to look
EXIT_MEMORY = 77  # memory ran out where no answer can be given

COMPILE, JUDGE = b"\0", b"\1"  # requests
PARSE_ONLY = 0x400  # PyCF_ONLY_AST
ABSENT_INT = -(2**31)
ABSENT_TEXT = 0xFFFF_FFFF


def main():
    source_pipe, answer_pipe = private_pipes()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers itself
    _signal.signal(_signal.SIGPROF, _signal.SIG_DFL)  # death in the middle of C code; the parent knows what it means
    sys.set_int_max_str_digits(4300)
    if UMASK >= 0:
        os.umask(UMASK)
    for module in filter(None, IMPORTS.split(",")):
        __import__(module)
    resident = resident_meter()
    be_the_first_to_go()
    confine()
    die_with_parent()
    done = _thread.allocate_lock()
    done.acquire()

    def run():
        try:
            serve(source_pipe, answer_pipe, resident)
        except BrokenPipeError:
            pass  # the parent is gone
        except MemoryError:
            os._exit(EXIT_MEMORY)
        finally:
            done.release()

    # A thread, because only a thread's stack has a size that the host does not decide.
    _thread.stack_size(STACK)
    _thread.start_new_thread(run, ())
    done.acquire()
    os._exit(0)


def private_pipes():
    """Takes stdin and stdout for the protocol; whatever else reads or writes them gets nothing and disturbs nothing."""
    source_pipe, answer_pipe = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return open(source_pipe, "rb", PIPE_BUFFER), open(answer_pipe, "wb", PIPE_BUFFER)


def be_the_first_to_go():
    """Has the kernel, where it runs out of memory, take a worker, which is soon replaced, rather than the parent."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        pass  # no Linux, or no /proc


def confine():
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),  # codecs of coding cookies are imported on demand
        (resource.RLIMIT_AS, MEMORY),
    ):
        if limit == resource.RLIMIT_AS and sys.platform == "darwin":
            continue  # known there, and refused
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def die_with_parent():
    """Has the kernel end this process by SIGIO, in the middle of C code too, when the parent's end of stderr closes.

    The signal also comes when the parent reads there, so nothing may be written to stderr from now on but last words.
    (On macOS it does nothing, and an orphan ends after its unit, at the end of its input.)
    """
    fcntl.fcntl(2, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_ASYNC)


def resident_meter():
    """A function that gives the resident memory now, in bytes; where the system has none, the peak."""
    try:
        statm, page = os.open("/proc/self/statm", os.O_RDONLY), os.sysconf("SC_PAGE_SIZE")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return lambda: int(os.pread(statm, 256, 0).split()[1]) * page


def serve(source_pipe, answer_pipe, resident):
    # One recorder for the worker's life: each unit takes what it finds there and empties it.
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        version = ".".join(map(str, sys.version_info[:3]))
        ready = f"{version} {MAGIC_NUMBER.hex()} {sys.flags.hash_randomization}"
        answer_pipe.write(b"bytefacts-worker-2\n" + packed_text(ready))
        answer_pipe.flush()
        memory, unmeasured = resident(), 0
        while request := source_pipe.read(1):
            source = read_block(source_pipe)
            if request == JUDGE:
                path, adaptive = read_block(source_pipe).decode(), source_pipe.read(1) == b"\1"
                answer_pipe.write(judge(source, path, adaptive, answer_pipe) + resident().to_bytes(8, "little"))
                answer_pipe.flush()
                recorded.clear()
                del source
                continue
            code, failure, cpu = compile_unit(source)
            unmeasured += cpu
            if unmeasured > MEASURE_EVERY:
                memory, unmeasured = resident(), 0
            diagnostics = [] if failure is None else [failure]
            diagnostics += described_warnings(recorded)
            recorded.clear()
            answer_pipe.write(
                b"".join(
                    (
                        b"\1" if failure is None else b"\0",
                        cpu.to_bytes(8, "little"),
                        memory.to_bytes(8, "little"),
                        len(diagnostics).to_bytes(4, "little"),
                        *diagnostics,
                        len(code).to_bytes(4, "little"),
                    )
                )
            )
            answer_pipe.write(code)
            answer_pipe.flush()
            del source, code, diagnostics


def read_block(pipe):
    size = int.from_bytes(pipe.read(4), "little")
    block = pipe.read(size)
    if len(block) != size:
        raise BrokenPipeError
    return block


def compile_unit(source):
    """Gives (marshalled code, None or the packed failure, nanoseconds of CPU)."""
    code, failure, stage = b"", None, "compile"
    # It runs on when the unit is done, but only as CPU time does, and the next unit winds it up again.
    _signal.setitimer(_signal.ITIMER_PROF, CPU_SECONDS)
    started = time.thread_time_ns()  # not process_time: while the timer runs, Linux counts that one by ticks
    try:
        code = compile(source, FILENAME, "exec", dont_inherit=DONT_INHERIT, optimize=OPTIMIZE)
        stage = "marshal"
        code = marshal.dumps(code, MARSHAL_VERSION)
    except BaseException as error:
        code, failure = b"", described_error(error, stage, source)
    cpu = time.thread_time_ns() - started
    if len(code) > LARGEST_CODE:
        failure = packed("marshal", 0, "SizeLimit", f"the code takes {len(code)} bytes, more than the limit of {LARGEST_CODE}")
        code = b""
    return code, failure, cpu


def judge(source, path, adaptive, answer_pipe):
    """Sends what `dis` says of a source, frame by frame, and gives the end of the answer: the failure, if there is one."""
    _signal.setitimer(_signal.ITIMER_PROF, JUDGE_CPU_SECONDS)
    try:
        code = compile(source, FILENAME, "exec", dont_inherit=DONT_INHERIT, optimize=OPTIMIZE)
        for frame in oracle().frames(code, path, adaptive):
            if len(frame) > LARGEST_CODE:
                return b"\2" + packed("oracle", 0, "SizeLimit", f"the facts of a unit take more than the limit of {LARGEST_CODE} bytes")
            answer_pipe.write(b"\1" + len(frame).to_bytes(4, "little"))
            answer_pipe.write(frame)
    except BrokenPipeError:
        raise
    except BaseException as error:
        return b"\2" + packed("oracle", 0, type(error).__name__, str(error))
    return b"\0"


def oracle():
    """The judging module; it and `dis` are loaded by the first request for a judgement."""
    module = sys.modules.get("bytefacts_oracle")
    if module is None:
        module = sys.__class__("bytefacts_oracle")
        exec(compile(ORACLE, "<bytefacts-oracle>", "exec"), module.__dict__)
        sys.modules["bytefacts_oracle"] = module
    return module


def described_error(error, stage, source):
    name = type(error).__name__
    if not isinstance(error, SyntaxError):
        return packed("decode" if isinstance(error, UnicodeError) else stage, 0, name, str(error))
    message = str(error.msg)
    # CPython gives an encoding problem of the file line 0, and one within a literal the name of the codec.
    if error.lineno == 0 or message.startswith(("(unicode error) 'utf-8'", "Non-UTF-8 code")):
        stage = "decode"
    offset, end_offset = error.offset, error.end_offset
    if stage == "compile" and not source.isascii():
        offset, end_offset = offsets_in_characters(error, source)
    return packed(stage, 0, name, message, error.lineno, offset, error.end_lineno, end_offset, error.text)


def offsets_in_characters(error, source):
    """The 1-based offsets of an error's start and end in characters of their lines.

    CPython's parser counts characters, whatever comes after it (symbol table, code generator, future statements) counts bytes
    of UTF-8. Parsing alone tells which of them it was. The parser counts the end on the line of the start, though, where the two
    lines differ: its bytes are found there and counted again on the line of the end.
    """
    try:
        lines = decoded_lines(source)
    except (UnicodeError, SyntaxError, LookupError):
        return error.offset, error.end_offset  # the parser met the error before what cannot be decoded
    start, end = line_of(lines, error.lineno), line_of(lines, error.end_lineno)
    if not is_error_of_the_parser(source):
        return characters(start, error.offset), characters(end, error.end_offset)
    if error.end_lineno in (None, error.lineno) or error.end_offset is None or error.end_offset < 1:
        return error.offset, error.end_offset
    if start is None or end is None or (start.isascii() and end.isascii()):
        return error.offset, error.end_offset
    if error.end_offset > len(start):
        return error.offset, None  # cut off at the end of the shorter line: where it was is lost
    return error.offset, characters(end, len(start[: error.end_offset - 1].encode("utf-8", "surrogatepass")) + 1)


def is_error_of_the_parser(source):
    with warnings.catch_warnings(record=True):
        try:
            compile(source, FILENAME, "exec", flags=PARSE_ONLY, dont_inherit=DONT_INHERIT, optimize=OPTIMIZE)
        except SyntaxError:
            return True
        except Exception:
            pass  # it was parsed, and only too deep to be made into objects
    return False


def decoded_lines(source):
    """The lines of a source that could be decoded, as CPython counts them."""
    from importlib.util import decode_source  # it loads more modules than most workers ever need

    return decode_source(source).split("\n")


def line_of(lines, number):
    return lines[number - 1] if number is not None and 1 <= number <= len(lines) else None


def characters(line, offset):
    """A 1-based offset in bytes of UTF-8, counted in characters."""
    if line is None or offset is None or offset < 1:
        return offset
    return len(line.encode("utf-8", "surrogatepass")[: offset - 1].decode("utf-8", "replace")) + 1


def described_warnings(recorded):
    for warning in recorded[:MOST_WARNINGS]:
        # Folding a constant may warn of what this very file seems to do: such a warning has no line in the source.
        line = warning.lineno if warning.filename == FILENAME else None
        yield packed("compile", 1, warning.category.__name__, str(warning.message), line)
    if len(recorded) > MOST_WARNINGS:
        more = f"{len(recorded) - MOST_WARNINGS} more warnings of this unit are left out"
        yield packed("compile", 1, "TooManyWarnings", more)


def packed(stage, severity, name, message, line=None, offset=None, end_line=None, end_offset=None, text=None):
    return b"".join(
        (
            packed_text(stage),
            severity.to_bytes(1),
            packed_text(name),
            packed_text(shortened(without_addresses(message))),
            *((ABSENT_INT if n is None else n).to_bytes(4, "little", signed=True) for n in (line, offset, end_line, end_offset)),
            ABSENT_TEXT.to_bytes(4, "little") if text is None else packed_text(shortened(text.rstrip("\r\n"))),
        )
    )


def without_addresses(message):
    """The message with `0x…` for each address of an object: those differ from run to run.

    CPython prints them as `<… at 0x…>` where it prints an object, and, in what it believes to be its own faults (SystemError),
    as the decimal key of a block of the symbol table: `in unit NAME (94772648048936)`. These are the kinds that are known,
    and names and numbers of the source stay as they are.
    """
    if " at 0x" in message:
        before, *rest = message.split(" at 0x")
        message = before
        for part in rest:
            tail = part.lstrip("0123456789abcdefABCDEF")
            is_address = tail != part and tail[:1] in (">", ",", ":")
            message += " at 0x" + ("…" + tail if is_address else part)
    if "failed: unknown scope in unit " in message:
        before, _, rest = message.partition("failed: unknown scope in unit ")
        name, opening, tail = rest.partition(" (")
        key, closing, tail = tail.partition("); symbols: ")
        if key.isdecimal() and closing:
            message = f"{before}failed: unknown scope in unit {name}{opening}0x…{closing}{tail}"
    return message


def packed_text(text):
    encoded = text.encode("utf-8", "backslashreplace")  # a lone surrogate becomes its six characters
    return len(encoded).to_bytes(4, "little") + encoded


def shortened(text):
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


main()
