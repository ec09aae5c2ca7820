"""Results to an MQTT broker."""

from edge.outlets.mqtt.outlet import Mqtt

__all__ = ["Mqtt"]
