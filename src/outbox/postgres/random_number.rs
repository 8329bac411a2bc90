//! Random numbers that tell processes and proofs apart.

use super::fault::DbFault;
use crate::random;

/// Returns a random number.
pub(super) fn random_number() -> Result<i64, DbFault> {
    let mut bytes = [0; size_of::<i64>()];
    let filled = random::fill_random(&mut bytes);
    filled.map_err(|_no_source| DbFault::Damaged("the random source of the operating system"))?;
    Ok(i64::from_ne_bytes(bytes))
}
