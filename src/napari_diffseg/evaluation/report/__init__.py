"""What an evaluation found, as JSON, CSV and one page of HTML."""
