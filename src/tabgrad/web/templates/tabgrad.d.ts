/** An exported page has the player beside it; here it is in the package's player folder. */
export * from "../../player/tabgrad.js";
