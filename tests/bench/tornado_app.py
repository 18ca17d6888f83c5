"""The handlers of handlers/bench.c, for Tornado: tornado_app.py PORT LOG_FILE_OR_EMPTY"""

import asyncio
import logging
import sys

from tornado import gen, web


class Plaintext(web.RequestHandler):
    def get(self):
        self.write("Hello, World!")


class User(web.RequestHandler):
    def get(self, id):
        self.write(id)


class Echo(web.RequestHandler):
    def post(self):
        self.write(self.request.body)


class Wait(web.RequestHandler):
    async def get(self, ms):
        await gen.sleep(int(ms) / 1000)
        self.write("Hello, World!")


async def main(port, log_file):
    if log_file:
        logging.basicConfig(filename=log_file, level=logging.INFO)
    settings = {} if log_file else {"log_function": lambda handler: None}
    routes = [
        (r"/plaintext", Plaintext),
        (r"/user/(?P<id>[^/]+)", User),
        (r"/echo", Echo),
        (r"/wait/(?P<ms>[0-9]{1,4})", Wait),
    ]
    web.Application(routes, **settings).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
