"""What starts ngspice, asks it and reads its answers."""
