"""What calls cost: prices of models, sums over attempts, budgets. Knows no gateway and no dialect.

price        Price, and what one request costs at it
price_list   prices from the package genai-prices, if it is installed
pricing      the price of one request: your own table, or else the list
spending     tokens and costs of several attempts
budget       budget(): a limit for all calls inside a block
"""

from .budget import Budget, BudgetExceeded, budget, budgets_in_force
from .price import Price
from .price_list import load_prices, prices_are_pending
from .pricing import Priced, cost_of, own_price
from .spending import Spending

__all__ = [
    "Budget",
    "BudgetExceeded",
    "Price",
    "Priced",
    "Spending",
    "budget",
    "budgets_in_force",
    "cost_of",
    "load_prices",
    "own_price",
    "prices_are_pending",
]
