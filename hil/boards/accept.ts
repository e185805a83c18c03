import { createServer, type Socket } from 'node:net'

/** A unix socket that waits for one caller: the program that is started next is told to connect to it. */
export interface Acceptor {
  readonly socket: Promise<Socket>
  close(): void
}

/** Listens when this resolves, so that the caller can never come too early. */
export async function acceptOne(path: string): Promise<Acceptor> {
  const server = createServer({ noDelay: true })
  const socket = new Promise<Socket>((resolve) => {
    server.once('connection', (connection) => {
      connection.on('error', () => undefined)
      server.close()
      resolve(connection)
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return { socket, close: () => void server.close() }
}
