//! Names of protocols and services.
/// x
pub struct Names;
