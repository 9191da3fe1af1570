"""The kernel: LEAN's time loop over day-columnar data (lean-facts, section 2).

What the trading side may use of `Engine`:

- `utc_ms`: the clock in UTC milliseconds (a scheduled event in the past has its own); `data_ms`: prices are known up to here.
- `algorithm`, `securities` (SecurityManager), `portfolio`, `transactions`, `source` (DataSource), `settings`.
- `fire_order_event(event)`: on_order_event and, for assigned shorts, on_assignment_order_event.
- `configs[symbol]`: subscription specifications; `model_changed(security, field)` is called by every `security.set_*_model`.
- `create_security(symbol) -> Security`: registers a security (an exercised option's underlying, an unsubscribed contract).
- `is_warming_up`, `log(text)`, `debug(text)`, `error(text)`.
"""
