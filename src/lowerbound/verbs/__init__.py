"""What a fitted model is asked: one file for each verb, and what several of them share."""
