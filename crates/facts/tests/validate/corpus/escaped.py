# coding: unicode_escape
x = '\x41'\x0ay = 2
