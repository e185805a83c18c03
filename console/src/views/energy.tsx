import { Bar, Panel } from '../parts/bits.tsx'
import { useAnswer } from '../use-answer.ts'
import { energy, percent, t, watts, word } from '../words.ts'

interface Part {
  readonly name: string
  readonly watts: number
  readonly joules: number
}

/** The part of the gateway's answer that is drawn. */
interface EnergyAnswer {
  readonly attribution?: {
    readonly source: string
    readonly whole: Part
    readonly idle: Part
    readonly rest: Part
    readonly pods: readonly Part[]
    readonly slices: readonly Part[]
    readonly agent: Part & {
      readonly own: Part
      readonly mappers: readonly (Part & { readonly devices: readonly Part[] })[]
    }
    readonly reason?: string
  }
}

/** Who takes how much of the gateway's power: pods, and devices by what reading them costs. */
export function EnergyShares() {
  const { value } = useAnswer<EnergyAnswer>('/v1/energy', 2_000)
  const parts = value?.attribution
  if (parts === undefined) return null
  const { whole, idle, rest, pods, slices, agent } = parts
  const devices = agent.mappers.flatMap((mapper) => mapper.devices)
  const rows: readonly (readonly [group: string, part: Part])[] = [
    [t('idle'), { ...idle, name: '' }],
    [t('rest'), { ...rest, name: '' }],
    ...slices.map((part) => [t('rest'), part] as const),
    ...pods.map((part) => [t('pods'), part] as const),
    [t('agent'), { ...agent.own, name: '' }],
    ...devices.map((part) => [t('device'), part] as const),
  ]
  return (
    <Panel
      title={t('energy')}
      aside={
        <span class="muted small">
          {watts(whole.watts)} · {word(parts.source)}
        </span>
      }
    >
      <table>
        <thead>
          <tr>
            <th scope="col">{t('consumer')}</th>
            <th scope="col">{t('share')}</th>
            <th scope="col" class="num">
              {t('power')}
            </th>
            <th scope="col" class="num">
              {t('energy')}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows
            .filter(([, part]) => part.watts > 0 || part.joules > 0)
            .map(([group, part]) => (
              <tr key={`${group}/${part.name}`}>
                <td>
                  {part.name === '' ? (
                    group
                  ) : (
                    <>
                      {part.name} <span class="muted small">{group}</span>
                    </>
                  )}
                </td>
                <td>
                  <Bar
                    share={whole.watts > 0 ? part.watts / whole.watts : 0}
                    label={percent(whole.watts > 0 ? part.watts / whole.watts : 0, 1)}
                    warnAt={2}
                  />
                </td>
                <td class="num">{watts(part.watts)}</td>
                <td class="num">{energy(part.joules)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </Panel>
  )
}
