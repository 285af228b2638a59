"""Small molecules for tests: chains, fused, bridged and spiro rings, charges, sulfur."""

SMILES = [
    "CCO",
    "CC(=O)Nc1ccc(O)cc1",
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "O=C(O)c1ccccc1OC(C)=O",
    "C1CC2CCC1C2",
    "C1CCC2(CC1)OCCO2",
    "O=[N+]([O-])c1ccccc1",
    "CS(=O)(=O)Nc1nccs1",
    "FC(F)(F)c1cc(Cl)cc(Br)c1I",
    "c1ccc2[nH]ccc2c1",
    "C#CCN=C=S",
    "N#Cc1ccc(-c2ccncc2)cc1",
    "OB(O)c1ccccc1",
    "C[N+](C)(C)CC(=O)[O-]",
    "CP(=O)(O)OC",
    "C",
    "c1ccc2c(c1)ccc1ccccc12",
    "C1=CC2C=CC1C2",
    "Cc1ccc2nc(NC(=O)CSc3nnnn3C)sc2c1",
]
