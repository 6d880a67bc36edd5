"""From messages to a stream of text: the chat model, and what is known of the servers that run one."""
