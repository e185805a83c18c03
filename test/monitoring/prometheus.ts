import { existsSync } from 'node:fs'

const onDisk = (name: string): string | undefined =>
  ['/usr/bin', '/usr/local/bin'].map((folder) => `${folder}/${name}`).find((path) => existsSync(path))

export const promtool = onDisk('promtool')
export const prometheus = onDisk('prometheus')

if (process.env['CI'] === 'true' && (promtool === undefined || prometheus === undefined)) {
  throw new Error('Prometheus is missing: apt-get install prometheus')
}
