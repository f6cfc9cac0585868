"""The verbs: plain functions, primary keys in and out, safe to repeat. Commands and views call
these and nothing below."""
