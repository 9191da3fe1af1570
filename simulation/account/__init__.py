"""What is held and what it reserves: cash, holdings, position groups, margin, closed trades."""
