//! async-tftp as a server of one folder, the way its own README starts it: a peer of `make bench-tftp`.

use std::{env, net::SocketAddr, process::exit};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(folder)) = (arguments.next(), arguments.next()) else {
        eprintln!("tftp-peer: ADDRESS:PORT FOLDER");
        exit(2);
    };
    if let Err(error) = serve(&address, &folder).await {
        eprintln!("tftp-peer: {error}");
        exit(1);
    }
}

async fn serve(address: &str, folder: &str) -> Result<(), Box<dyn std::error::Error>> {
    let builder = async_tftp::server::TftpServerBuilder::with_dir_ro(folder)?;
    let server = builder.bind(address.parse::<SocketAddr>()?).build().await?;
    Ok(server.serve().await?)
}
