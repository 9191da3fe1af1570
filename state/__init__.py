"""The four levels of state, their transition tables, the store that survives a kill, and the recovery after one."""
