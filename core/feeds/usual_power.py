"""A model that learns from a device: the usual day of its power, as `usual_day.py` has it.

FEEDS=usual_power:device:12.power, with the number in the address of the device's page.
"""

from core.feeds import Signal, usual_day


class Feed(usual_day.Feed):
    label = "The usual power of a device"
    signals = (Signal.POWER,)
