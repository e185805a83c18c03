import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type IServiceVector, ServerTCP } from 'modbus-serial'

export interface ForeignServer {
  readonly port: number
  close(): Promise<void>
}

/** A Modbus TCP server that is not ours. The library takes port 0 for its default, so a free one is looked for first. */
export async function foreignTcpServer(vector: IServiceVector, unitID = 1): Promise<ForeignServer> {
  const probe = createServer()
  await once(probe.listen(0, '127.0.0.1'), 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise<void>((resolve) => probe.close(() => resolve()))
  const server = new ServerTCP(vector, { host: '127.0.0.1', port, unitID })
  await once(server, 'initialized')
  return { port, close: () => new Promise<void>((resolve) => server.close(() => resolve())) }
}
