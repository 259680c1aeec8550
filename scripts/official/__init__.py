"""The published DSRL code beside ours: published.py runs it on our base policies, compare.py draws both."""
