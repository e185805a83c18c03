import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-gateway-status', {
  category: 'Sluice',
  color: '#c3d69b',
  icon: 'font-awesome/fa-battery-three-quarters',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    of: { value: '' },
  },
  inputs: 1,
  outputs: 1,
  paletteLabel: 'gateway status',
  label() {
    return this.name || String(this['of'] || 'gateway status')
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  oneditprepare() {
    preparePickers(this, { of: true, anyKey: 'picker.anyGateway' })
  },
})
