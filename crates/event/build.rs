//! Generates the protobuf types, without a system protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = protox::compile(
        [
            "keyferry/v1/change.proto",
            "keyferry/v1/checkpoint.proto",
            "keyferry/v1/quarantine.proto",
        ],
        [&root],
    )?;
    prost_build::Config::new().bytes(["."]).compile_fds(files)?;
    Ok(())
}
