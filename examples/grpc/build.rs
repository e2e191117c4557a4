//! Generates the code of the service, and the descriptors for its reflection and for its table of methods.

use std::{env, error::Error, fs, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["factory.proto"], ["proto"])?;
    let file = Path::new(&env::var("OUT_DIR")?).join("factory.bin");
    fs::write(file, descriptors.encode_to_vec())?;
    tonic_prost_build::compile_fds(descriptors)?;
    Ok(())
}
