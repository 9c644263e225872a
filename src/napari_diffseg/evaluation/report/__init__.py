"""The report of an evaluation over many cases: JSON, CSV and one page of HTML."""
