"""Ray actors that roll out and judge, and what keeps the wanted number of them alive."""
