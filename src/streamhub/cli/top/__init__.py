"""``streamhub top``: all sessions in a terminal, and what somebody on call does about them."""
