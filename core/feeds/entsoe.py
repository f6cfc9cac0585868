"""Day-ahead prices of the bidding zones of Europe, from the platform of the grid operators.

https://transparencyplatform.zendesk.com (article 12.1.D, document type A44; an account and its
security token are needed, at most 400 calls a minute). An answer is XML of whole market days, which
begin at midnight by the clock of the zone: days of 23 and of 25 hours have that many. A document
has several time series, of quarters of an hour, of half-hours or of hours. With curve type A03 a
point that is left out has the value of the one before it. Nothing published yet is an
acknowledgement with reason 999, and no error: tomorrow's prices come about 13:00 by Central
European Time. Prices are of the market: fees and tax are options.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from core import feeds
from core.feeds import Signal, Slot, in_order, moment
from core.feeds._prices import MarketOptions, issued, now, with_fees
from core.net.errors import ApiError, ApiRefused

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LENGTHS = {
    "PT15M": timedelta(minutes=15),
    "PT30M": timedelta(minutes=30),
    "PT60M": timedelta(hours=1),
    "PT1H": timedelta(hours=1),
}
QUARTER = timedelta(minutes=15)
LONGEST_PERIOD = timedelta(days=8)  # days come one by one, or a week
MOST_PRICES = 50_000
HIGHEST = 100_000.0  # of the currency, per MWh
NOTHING = "999"
CODE = re.compile(r"[0-9A-Z][0-9A-Z-]{15}")
ZONES = {
    **{"AT": "10YAT-APG------L", "BE": "10YBE----------2", "BG": "10YCA-BULGARIA-R"},
    **{"CH": "10YCH-SWISSGRIDZ", "CZ": "10YCZ-CEPS-----N", "DE-LU": "10Y1001A1001A82H"},
    **{"DK1": "10YDK-1--------W", "DK2": "10YDK-2--------M", "EE": "10Y1001A1001A39I"},
    **{"ES": "10YES-REE------0", "FI": "10YFI-1--------U", "FR": "10YFR-RTE------C"},
    **{"GR": "10YGR-HTSO-----Y", "HR": "10YHR-HEP------M", "HU": "10YHU-MAVIR----U"},
    **{"IE": "10Y1001A1001A59C", "IT-North": "10Y1001A1001A73I", "LT": "10YLT-1001A0008Q"},
    **{"LV": "10YLV-1001A00074", "NL": "10YNL----------L", "NO1": "10YNO-1--------2"},
    **{"NO2": "10YNO-2--------T", "NO3": "10YNO-3--------J", "NO4": "10YNO-4--------9"},
    **{"NO5": "10Y1001A1001A48H", "PL": "10YPL-AREA-----S", "PT": "10YPT-REN------W"},
    **{"RO": "10YRO-TEL------P", "SE1": "10Y1001A1001A44P", "SE2": "10Y1001A1001A45N"},
    **{"SE3": "10Y1001A1001A46L", "SE4": "10Y1001A1001A47J", "SI": "10YSI-ELES-----O"},
    **{"SK": "10YSK-SEPS-----K"},
}


class Price(NamedTuple):
    starts_at: datetime
    ends_at: datetime
    value: float
    currency: str


class Feed(feeds.Feed):
    label = "ENTSO-E: day-ahead prices"
    signals = (Signal.PRICE,)
    address = "https://web-api.tp.entsoe.eu"
    needs_credential = True
    region_hint = "a bidding zone such as DE-LU, AT or SE4, or its EIC code"
    Options = MarketOptions

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        from core.net.http import in_query  # imported late: it loads requests

        domain = ZONES.get(region.strip(), region.strip())
        if not CODE.fullmatch(domain):
            raise ApiRefused(f"{region[:60]!r} is no bidding zone. It is {self.region_hint}.")
        if not self.http.credential:
            raise ApiRefused("ENTSO-E wants its security token: set ENTSOE_CREDENTIAL.")
        if since >= until:
            return []
        self.http.auth = in_query("securityToken", self.http.credential)
        params: dict[str, str | int] = {
            "documentType": "A44",
            "in_Domain": domain,
            "out_Domain": domain,
            "periodStart": _written(since),
            "periodEnd": _written(until),
        }
        prices = _prices(self._document(params))
        at, unit = now(), ""
        slots = []
        for price in prices:
            unit = unit or f"{price.currency}/kWh"
            if unit != f"{price.currency}/kWh":
                raise ApiError(f"{self.address} answered prices in more than one currency.")
            made_at, per_kwh = issued(price.ends_at, at), round(price.value / 1000, 8)
            slots.append(Slot(price.starts_at, price.ends_at, per_kwh, unit, made_at, Signal.PRICE))
        found = in_order(slots, since, until)
        return in_order(with_fees(found, self.options, self.zone), since, until)

    def _document(self, params: dict[str, str | int]) -> "Element":
        from core.net import strict_xml  # imported late: it loads an XML parser

        content = self.http.fetch("GET", "/api", params=params)
        try:
            document = strict_xml.parse(content)
        except ValueError as error:
            raise ApiError(f"{self.address} answered something else. {error}") from error
        if document.tag == "Acknowledgement_MarketDocument":
            reason = document.find("Reason")
            code = reason.findtext("code", "") if reason is not None else ""
            text = reason.findtext("text", "") if reason is not None else ""
            if code.strip() != NOTHING:
                raise ApiRefused(f"{self.address} says: {' '.join(text.split())[:200]}")
        elif document.tag != "Publication_MarketDocument":
            raise ApiError(f"{self.address} answered a {document.tag[:60]}.")
        return document


def _written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y%m%d%H%M")


def _prices(document: "Element") -> list[Price]:
    """Return the prices of all series. Of two for one time the first auction counts, then the first
    series: some zones have a second auction, of quarters of an hour."""
    series = sorted(document.findall("TimeSeries"), key=_auction)
    found: list[Price] = []
    taken: set[datetime] = set()
    for one in series:
        # A copy: only what earlier series tell takes a time away, not this series itself.
        before = taken.copy()
        for price in _of_series(one):
            quarters = {price.starts_at + n * QUARTER for n in range(_quarters(price))}
            if not quarters & before and len(found) < MOST_PRICES:
                found.append(price)
                taken |= quarters
    if series and not found:
        raise ApiError(f"{Feed.address} answered {len(series)} series, and none can be read.")
    return found


def _quarters(price: Price) -> int:
    return (price.ends_at - price.starts_at) // QUARTER


def _auction(series: "Element") -> int:
    name = "classificationSequence_AttributeInstanceComponent.position"
    return _whole(series.findtext(name, "")) or 1


def _of_series(series: "Element") -> Iterator[Price]:
    currency = series.findtext("currency_Unit.name", "").strip()
    measure = series.findtext("price_Measure_Unit.name", "").strip()
    if not re.fullmatch("[A-Z]{3}", currency) or measure != "MWH":
        return
    repeats = series.findtext("curveType", "A01").strip() == "A03"
    for period in series.findall("Period"):
        for starts_at, ends_at, value in _of_period(period, repeats):
            yield Price(starts_at, ends_at, value, currency)


def _of_period(period: "Element", repeats: bool) -> Iterator[tuple[datetime, datetime, float]]:
    starts_at = moment(period.findtext("timeInterval/start", "").strip())
    ends_at = moment(period.findtext("timeInterval/end", "").strip())
    length = LENGTHS.get(period.findtext("resolution", "").strip())
    if starts_at is None or ends_at is None or length is None:
        return
    if not timedelta(0) < ends_at - starts_at <= LONGEST_PERIOD:
        return
    points: dict[int, float | None] = {}
    for point in period.findall("Point"):
        place = _whole(point.findtext("position", ""))
        points.setdefault(place, _number(point.findtext("price.amount", "")))
    value = None
    for place in range(1, (ends_at - starts_at) // length + 1):
        if place in points or not repeats:
            value = points.get(place)
        if value is not None:
            begins = starts_at + (place - 1) * length
            yield begins, begins + length, value


def _whole(text: str) -> int:
    written = text.strip()
    return int(written) if re.fullmatch("[0-9]{1,6}", written) else 0


def _number(text: str) -> float | None:
    if not re.fullmatch(r"\s*-?[0-9]{1,9}(\.[0-9]{1,9})?\s*", text):
        return None
    value = float(text)
    return value if abs(value) <= HIGHEST else None
