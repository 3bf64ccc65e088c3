"""What the three sources ask, measured and judged; finished work on disk, and recorded runs.

The rooms of the sources are ``carbone``, ``dombrowski`` and ``zeng``, that of their background ``background``: ``source``
says what the source says, as data; modules named after what they measure give tables; ``tables`` makes tables of tables;
``claims`` judges them; and ``words`` makes sentences of them, and of nothing else.
"""

from relevance.studies.store import kept

__all__ = ["kept"]
