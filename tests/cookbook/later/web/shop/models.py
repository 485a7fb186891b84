import abc
import dataclasses


class Model(abc.ABC):
    def __init__(self, row):
        self.row = row

    def reload(self):
        self.fresh = True
        return self


class Item(Model):
    @property
    def name(self):
        return self.row["name"]


@dataclasses.dataclass
class Order(Model):
    items: list

    @classmethod
    def of(cls, *items):
        return cls(items)


class Refund(Order):
    pass


LATER = True
