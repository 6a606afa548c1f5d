"""The life of an order in the Executor: rehearse, receive, begin, settle, hold, undo, report."""
