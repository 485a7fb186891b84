"""Pages of the shop."""
import hashlib
import logging
import os
import pickle
import subprocess

import requests
import yaml
from flask import Flask, request as req

from . import models
from .models import Item

app = Flask(__name__)
log = logging.getLogger(__name__)
API_TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ456789"
PRICES = {}


@app.route("/run")
def run():
    return eval(req.args["code"])


@app.route("/load", methods=["POST"])
def load():
    data = pickle.loads(req.data)
    options = yaml.load(req.args["options"], Loader=yaml.SafeLoader)
    settings = yaml.load(req.args["settings"])
    return data, options, settings


def deploy(branch, **options):
    subprocess.run("git pull " + branch, shell=True, check=True)
    subprocess.call(["ls"], shell=False)
    subprocess.Popen(branch, shell=True, **options)
    os.system("make")


def fetch(url):
    first = requests.get(url, verify=False)
    second = requests.get(url, timeout=3)
    return first, second


def digest(data):
    return hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), hashlib.new("sha1", data)


def find(cursor, name):
    cursor.execute("SELECT * FROM item WHERE name = '%s'" % name)
    cursor.execute(f"SELECT * FROM item WHERE name = '{name}'")
    cursor.execute("SELECT * FROM item WHERE name = ?", (name,))
    return [Item(row) for row in cursor]


def price(item, default=[]):
    global PRICES
    assert item, "no item"
    try:
        return PRICES[item]
    except KeyError:
        log.warning("no price of %s", item)
    except Exception:
        pass
    PRICES = dict(PRICES)
    return default


def total(items):
    result = 0
    unused = 1
    for item in items:
        if item.price > 100 and item.count > 3 or item.is_free:
            result += item.price * 2
        elif item.price < 0:
            raise ValueError(item)
        else:
            result += item.price
    return result
