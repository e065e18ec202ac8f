"""The lab: draw a distribution in the browser and watch real steps learn it."""
