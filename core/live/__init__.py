"""The WebSocket of this process: clients subscribe to events and send actions.

    consumer     one socket: opens, receives, answers, closes (docs/socket.md has its messages)
    handshake    whether a page of this origin may open a socket, and its session cookie
    sessions     the log-in behind a socket: looked up when it opens, checked at each heartbeat
    connections  all open sockets: their limit, their heartbeat, their end at shutdown
    protocol     parses what a client sends; the token bucket that limits its rate
    actions      order, hold and release: what a client may have done, with permission checks
    presence     which device's page each socket of this process shows, stored as leases
    log          the event log as a web process reads it, over a connection of its own
    follower     one a process: reads each event once, hands it to all subscribers
    subscriber   one a socket: its topics, and a bounded queue of messages to send
    catch_up     brings a subscriber to the newest event, by resuming or by a snapshot
    snapshots    the devices as they are now, made once for all who ask for the same
    relay        sends events to a hosted relay, in a process of its own
    channels     the relay's channels, and who may subscribe to them
    threads      where sockets use the database and vendors

A message comes in: consumer.websocket_receive -> protocol.parse_message, parse_request ->
subscriptions and presence at once; an action in a writer thread -> the answer is enqueued.
An event goes out: log.wait -> log.read -> SerializedEvent.of -> Subscriber.deliver of each
subscriber that is caught up -> sent without a task where nothing waits, else enqueued.

The contract: events reach a client in the order of their ids, each once. A client that was away
resumes after its last id and misses nothing, or gets `over` and starts again with a snapshot.
All but threads.py runs in one asyncio loop, and a client that reads slowly delays only itself.
"""
