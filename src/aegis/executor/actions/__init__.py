"""The actions: how each one turns a proposal into exact requests and their undo. Planning is pure."""
