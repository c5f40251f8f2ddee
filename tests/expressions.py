"""Expressions of schedules, right and wrong. Python and SQL must agree on every one of them."""

from __future__ import annotations

from typing import NamedTuple

from pgtask.model.cron import Seconds


class Written(NamedTuple):
    """What somebody may write for a schedule."""

    expression: str
    timezone: str = "UTC"
    seconds: Seconds | None = None


_UNDERSTOOD = """
* * * * *
0 * * * *
00 08 * * *
*/5 * * * *
*/1 * * * *
*/59 * * * *
*/07 * * * *
0-29 * * * *
0-59 * * * *
0-59/7 * * * *
5/15 * * * *
59/15 * * * *
1,2,3 * * * *
5,5 * * * *
*/20,7 * * * *
7,*/20,50-55/2 * * * *
50-10 * * * *
0 0 * * *
0 23 * * *
0 */2 * * *
0 */23 * * *
0 9-17 * * *
0 9-17/2 * * *
0 22-5 * * *
0 0-23 * * *
0 8,12,16 * * *
30 2 * * *
0 0 1 * *
0 0 31 * *
0 0 1,15 * *
0 0 1-7 * *
0 0 25-5 * *
0 0 */2 * *
0 0 */30 * *
0 0 L * *
0 0 l * *
0 0 15,L * *
0 0 L,30,31 2 *
0 0 29 2 *
0 0 29-31 2 *
0 0 29,30 2 *
0 0 28-29 feb *
0 0 31 1-3 *
0 0 31 4,5 *
0 0 31 4,6,9,11,12 *
0 0 30 4 *
0 0 30,31 2,4 *
0 0 1 jan *
0 0 1 JAN *
0 0 1 Jan,jul *
0 0 1 jan-mar *
0 0 1 nov-feb *
0 0 1 */3 *
0 0 1 */11 *
0 0 1 2-12/2 *
0 0 1 2/3 *
0 0 1 feb/3 *
0 0 1 01 *
0 0 * * 0
0 0 * * 7
0 0 * * 00
0 0 * * sun
0 0 * * SUN
0 0 * * mon-fri
0 0 * * Mon-Fri
0 0 * * 1-5
0 0 * * 5-7
0 0 * * 5-0
0 0 * * 0-7
0 0 * * sun-7
0 0 * * 0-6
0 0 * * 1-7
0 0 * * 1-7/2
0 0 * * mon-sun/2
0 0 * * 1-0/3
0 0 * * fri-mon
0 0 * * 6-2
0 0 * * 7-3
0 0 * * 7-3/2
0 0 * * sun-tue
0 0 * * sat-sun
0 0 * * */2
0 0 * * */6
0 0 * * mon/2
0 0 * * 0,3,7
0 0 * * mon,wed,fri
0 0 * * 1,wed,fri-sat
0 0 * * mon#1
0 0 * * 1#5
0 0 * * 7#2
0 0 * * sun#2
0 0 * * mon#1,mon#3
0 0 * * mon#01
0 0 * * friL
0 0 * * 5L
0 0 * * 7l
0 0 * * sunL,mon#2
0 0 * 2 mon#5
0 0 13 * 5
0 0 13 * fri
0 0 31 2 mon
0 0 30 2 1-5
0 0 */2 * mon
0 0 1-7 * */2
0 0 29 2 */3
0 0 L * fri
0 0 1-31 * mon
12 3-5,7 1,L jan-mar,7 mon-fri,sun
@hourly
@daily
@midnight
@weekly
@monthly
@yearly
@annually
@Daily
@HOURLY
@every 1s
@every 1 s
@every 30s
@every 5m
@every 5min
@every 2h
@every 1d
@every 1w
@every 1h30m
@every 1h 30m
@every 1 h 30 m 5 s
@every 1.5s
@every 1000ms
@every 500ms 500ms
@every 1s500ms
@every 0.5m
@every 90S
@EVERY 2H
@every 007s
@every 1000000000s
@every 0s 1s
"""

_MISUNDERSTOOD = """
*
* *
* * *
* * * *
* * * * * *
* * * * * * *
0 0 1 1 * 2026
0 0 0 1 1 * 2026
* * * * * * * *
a
hello world
every day
0 8 * * * echo
60 * * * *
061 * * * *
100 * * * *
99999999999999999999 * * * *
-1 * * * *
1- * * * *
-5-10 * * * *
1-2-3 * * * *
1-60 * * * *
60-70 * * * *
5-5 * * * *
05-5 * * * *
10-5/2 * * * *
50-10/5 * * * *
*/0 * * * *
*/00 * * * *
*/60 * * * *
*/90 * * * *
*/999999999999999999999 * * * *
*/-1 * * * *
*/ * * * *
/5 * * * *
*/5/2 * * * *
*/a * * * *
*/1.5 * * * *
1.5 * * * *
1, * * * *
,1 * * * *
1,,2 * * * *
, * * * *
1;2 * * * *
*,5 * * * *
5,* * * * *
*,* * * * *
*5 * * * *
5* * * * *
** * * * *
*-5 * * * *
5-* * * * *
*-* * * * *
? * * * *
* ? * * *
* * ? * *
* * * ? *
* * * * ?
0 0 ? * mon
0 0 1 * ?
H * * * *
h * * * *
R * * * *
R R * * *
H/15 * * * *
H(0-29) * * * *
H(0-29)/10 * * * *
R(1-5) * * * *
0 H * * *
0 H(0-7) * * *
0 0 H * *
0 0 * H *
0 0 * * H
jan * * * *
mon * * * *
L * * * *
0 L * * *
0 24 * * *
0 25 * * *
0 23-24 * * *
0 22-5/2 * * *
0 9-9 * * *
0 */24 * * *
0 */36 * * *
0 8am * * *
8:00 * * * *
0 0 0 * *
0 0 32 * *
0 0 0-5 * *
0 0 1-32 * *
0 0 */31 * *
0 0 25-5/2 * *
0 0 5-5 * *
0 0 15W * *
0 0 15w * *
0 0 W15 * *
0 0 LW * *
0 0 1W,15W * *
0 0 L-3 * *
0 0 1-L * *
0 0 L/2 * *
0 0 LL * *
0 0 L,* * *
0 0 mon * *
0 0 30 2 *
0 0 31 2 *
0 0 30,31 2 *
0 0 30-31 feb *
0 0 30 2 */2
0 0 31 4 *
0 0 31 4,6,9,11 *
0 0 31 2,apr *
0 0 31 4-4 *
0 0 31/2 2 *
0 0 1 0 *
0 0 1 13 *
0 0 1 1-13 *
0 0 1 */12 *
0 0 1 feb-feb *
0 0 1 nov-feb/2 *
0 0 1 january *
0 0 1 ja *
0 0 1 mon *
0 0 1 jan/mar *
0 0 1 -jan *
0 0 1 L *
0 0 * * 8
0 0 * * 0-8
0 0 * * -1
0 0 * * monday
0 0 * * mo
0 0 * * jan
0 0 * * 1-1
0 0 * * mon-1
0 0 * * sun-sun
0 0 * * 7-0
0 0 * * 7-7
0 0 * * 0-0
0 0 * * 6-2/2
0 0 * * */7
0 0 * * mon#0
0 0 * * mon#6
0 0 * * mon#
0 0 * * #1
0 0 * * mon#1#2
0 0 * * mon#a
0 0 * * mon#fri
0 0 * * mon/fri
0 0 * * 8#1
0 0 * * foo#1
0 0 * * mon-fri#1
0 0 * * mon#1-3
0 0 * * mon#1/2
0 0 * * *#1
0 0 * * mon#1,fri
0 0 * * fri,mon#1
0 0 * * friL,mon
0 0 * * L
0 0 * * L5
0 0 * * 8L
0 0 * * fooL
0 0 * * mon-friL
0 0 1 * mon#1
0 0 1-7 * mon#1
0 0 L * friL
0 0 */2 * mon#1
0 0 1#1 * *
0#1 0 * * *
0 0 * 1#1 *
% * * * *
$(reboot) * * * *
'0' * * * *
"0 0 * * *"
0 0 * * * ;
\\0 * * * *
@
@reboot
@REBOOT
@dayly
@day
@daily now
@daily 5
@every
@every5s
@everything
@every 5
@every 5x
@every 5 apples
@every s
@every -5s
@every +5s
@every 1,5s
@every .5m
@every 1.m
@every 1e3s
@every 5s,
@every 1h-5m
@every infs
@every nan
@every 0s
@every 0.5s
@every 500ms
@every 999ms
@every 0.999999s
@every 1000000001s
@every 99999999999999999999w
@every 1month
@every 1y
@every minute
@ every 5s
@@daily
"""

SIX_FIELDS = """
* * * * * *
0 * * * * *
*/10 * * * * *
0 0 8 * * *
0 0 0 * * *
30 30 2 * * *
0 0 0 1 1 *
0-30/5 0 0 1 1 1
"""

UNDERSTOOD = (
    *(Written(line) for line in _UNDERSTOOD.splitlines() if line),
    *(Written(line, seconds="first") for line in (*filter(None, SIX_FIELDS.splitlines()), "0 0 0 * * mon-fri")),
    *(Written(line, seconds="last") for line in ("* * * * * *", "0 8 * * mon-fri 30", "0 0 L * * 59", "0 0 * * 7 0")),
    Written(" 0 8 * * * "),
    Written("0\t8  *   *\t*"),
    Written("0 8 * * *\n"),
    Written("\n 0 8 * * *\r\n"),
    Written(" @every  30s "),
    Written("*/5 * * * " + ",".join(["1"] * 95)),
    *(
        Written("0 8 * * *", timezone)
        for timezone in ("UTC", "Etc/UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
    ),
    *(
        Written("0 8 * * *", timezone)
        for timezone in (
            "CET",
            "GMT",
            "Etc/GMT+5",
            "America/Argentina/Buenos_Aires",
            "Pacific/Chatham",
            "Antarctica/Troll",
        )
    ),
)
"""What must be accepted."""

MISUNDERSTOOD = (
    *(Written(line) for line in _MISUNDERSTOOD.splitlines() if line),
    *(Written(line, seconds="first") for line in ("* * * * *", "@daily", "@every 5s", "60 * * * * *", "* * * * * * *")),
    *(
        Written(line, seconds="first")
        for line in ("0 8 * * mon-fri 0", "* * * * * mon#6", "0 0 0 30 2 *", "H * * * * *")
    ),
    *(Written(line, seconds="last") for line in ("* * * * *", "@daily", "@every 5s", "* * * * * 60", "* * * * * * *")),
    *(
        Written(line, seconds="last")
        for line in ("0 0 8 * * mon-fri", "0 0 30 2 * 0", "* * * * * ?", "*/5 * * * * mon")
    ),
    Written("* * * * * *", seconds="middle"),  # type: ignore[arg-type]
    Written("* * * * * *", seconds=""),  # type: ignore[arg-type]
    Written("* * * * *", seconds="FIRST"),  # type: ignore[arg-type]
    Written(""),
    Written("@every "),
    Written(" "),
    Written("\t\n"),
    Written("0 8 *\n* *"),
    Written("0 8 * * *\n0 9 * * *"),
    Written("0\N{NO-BREAK SPACE}8 * * *"),
    Written("\N{NO-BREAK SPACE}0 8 * * *"),
    Written("0\v8 * * *"),
    Written("0 8 * * \x1b"),
    Written("\N{ARABIC-INDIC DIGIT FIVE} 8 * * *"),
    Written("\N{FULLWIDTH DIGIT FIVE} 8 * * *"),
    Written("0 8 * * m\N{LATIN SMALL LETTER O WITH DIAERESIS}n"),
    Written("0 8 * * \N{KELVIN SIGN}"),
    Written("0 8 * \N{LATIN CAPITAL LETTER I WITH DOT ABOVE} *"),
    Written("*/5 * * * " + ",".join(["1"] * 96)),
    Written("0 8 * * " + "1" * 250),
    Written("@every " + "1s" * 100),
    *(
        Written("0 8 * * *", timezone)
        for timezone in (
            "",
            " ",
            "Mars/Olympus",
            "europe/berlin",
            "Europe/Berlin ",
            "Europe",
            "Europe/",
            "+02:00",
            "UTC+2",
        )
    ),
    *(
        Written("0 8 * * *", timezone)
        for timezone in (
            "CEST",
            "localtime",
            "../UTC",
            "/etc/localtime",
            "posix/Europe/Berlin",
            "EST5EDT4,M3.2.0",
            "Europe/Berlin\n",
        )
    ),
)
"""What must be refused."""
