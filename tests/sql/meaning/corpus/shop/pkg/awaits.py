import asyncio


async def all_of_them(session, urls, lock):
    await asyncio.sleep(1)
    task = session.get(urls)
    await task
    async with lock, session.open() as s:
        async for url in s.urls():
            await (await url)
    return [x async for x in urls if await x.ok]


async def none(xs):
    return [x for x in xs]


async def pairs(xs):
    return {i: await c for i, c in xs}
