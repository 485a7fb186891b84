import logging
import traceback

log = logging.getLogger()


def nothing(f):
    try:
        f()
    except:
        pass


def two(f):
    for x in f:
        try:
            x()
        except ValueError:
            continue
        except (KeyError, f.Error) as e:
            print(e)
        except Exception as error:
            raise RuntimeError from error


def passed_on(f):
    try:
        f()
    except OSError as e:
        if e.errno:
            raise
    except AttributeError as e:
        raise e
    except BaseException:
        log.error("no")
        return None
    except f():
        return False


def groups(f):
    try:
        f()
    except* ValueError as group:
        f(group)
    except* (TypeError, KeyError):
        pass


def none_of_these(f):
    try:
        f()
    finally:
        return 1


def nor_these(f, xs):
    with f() as g:
        pass
    return [x for x in xs], [lambda: y for y in xs]


def in_finally(f):
    try:
        f()
    finally:
        try:
            f.close()
        except OSError:
            pass
