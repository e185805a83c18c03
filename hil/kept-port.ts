import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Above what programs have as their own, and as far below what the kernel hands out by itself as it has to be. */
const FIRST = 20_000
const LAST = 60_000

const given = new Set<number>()

/**
 * A port of 127.0.0.1 that is free now and that nobody is given by asking for any: for a server that ends and comes back
 * with the same port, and for programs that cannot choose one themselves. A port the kernel chose (port 0) may be
 * somebody else's a moment after it was given back.
 */
export async function keptPort(): Promise<number> {
  const end = Math.max(FIRST + 1000, Math.min(LAST, firstOfTheKernel()))
  for (;;) {
    const port = randomInt(FIRST, end)
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
}

function firstOfTheKernel(): number {
  try {
    return Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10)
  } catch {
    return LAST
  }
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer()
  try {
    probe.listen(port, '127.0.0.1')
    await once(probe, 'listening')
  } catch {
    return false
  }
  probe.close()
  await once(probe, 'close')
  return true
}
