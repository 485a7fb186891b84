import asyncio
import time
from time import sleep

import requests


async def poll(url, session):
    while True:
        time.sleep(1)
        sleep(2)
        await asyncio.sleep(3)
        answer = requests.get(url)
        async with session.get(url) as response:
            await response.read()
        for part in answer:
            await session.post(part)


async def gather(urls):
    return await asyncio.gather(*[poll(url, None) for url in urls])


def countdown(n):
    if n == 0:
        return 0
    return countdown(n - 1)


def idle(n):
    try:
        pass
    except ValueError:
        print(n)


def retry(f):
    try:
        return f()
    except:
        return None


def careful(f):
    try:
        return f()
    except OSError as error:
        raise RuntimeError("no") from error
    except ValueError as error:
        print(error)


def many(a, b, c, d, e, f, *, g=1, h=2):
    return a, b, c, d, e, f, g, h


def numbers(n):
    for i in range(n):
        yield i
