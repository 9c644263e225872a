"""How good masks, ensembles and their uncertainty are, against one reader or several."""
