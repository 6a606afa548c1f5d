"""The actions and signals as facts. The Executor implements them; policy, the AI Engine, RBAC and docs read them."""
