"""How models leave the framework: export, conversion, C++ inference, accuracy, report."""
