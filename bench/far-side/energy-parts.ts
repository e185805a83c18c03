/** What a gateway runs once a second for power and networks, bundled as it is shipped for `energy-sampler.ts`. */
export { openEnergy } from '../../agent/energy/energy.ts'
export { Alerts } from '../../agent/policy/alerts.ts'
export { Radio } from '../../agent/radio/radio.ts'
export { policyFacts } from '../../agent/vitals.ts'
