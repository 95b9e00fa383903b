//! Every kernel on every instruction set of this machine, against plain loops in float64.
mod conv2d;
mod dense;
mod elementwise;
mod peak;
mod pool;
mod prepared;
mod reference;
mod training;
mod update;
