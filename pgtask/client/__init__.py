"""pgtask over REST, without a database: the same operations with the same records and errors.

`Client("https://pgtask.example.com", token).enqueue("send_email", {"to": "a@b.c"}, priority="high")`
"""

from pgtask.client.client import Client

__all__ = ["Client"]
