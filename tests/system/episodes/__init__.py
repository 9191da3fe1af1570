"""An account filled to the limits of risk, taken through named days."""
