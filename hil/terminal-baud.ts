import { execFileSync } from 'node:child_process'

/** The baud rate that a terminal is set to right now, whoever set it. */
export function terminalBaud(path: string): number {
  const said = execFileSync('stty', ['-F', path, 'speed'], { encoding: 'latin1' })
  const baud = Number(said)
  if (!(baud > 0)) throw new Error(`stty says '${said.trim()}' of ${path}`)
  return baud
}
