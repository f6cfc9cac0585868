"""The REST API under /api/v1/, for programs: parse, call, answer.

What is answered comes from core/serializers.py and what is done from core/tasks/, so that page,
socket, command and API say the same. A file holds one resource. Its views are `Resource`s
(core/api/resource.py): each states the right it needs, and the parameters it takes. Django REST
framework's serializers describe and check what comes in, and describe what goes out; rows never go
through them.

Only urls.py imports this room: a scheduled command pays nothing for it.
"""
